"""Studies: the search over recipes, what it begins with, and the final evaluation of its front."""
