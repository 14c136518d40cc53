"""`stalk top`: a model of what is heard (no terminal in it), where it comes from, and the view."""
