"""A run on disk: written and read here, and nowhere else. Reading loads neither torch nor optuna."""
