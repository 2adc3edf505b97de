"""What saves time in a trial: estimates, early stopping, candidates derived from one training."""
