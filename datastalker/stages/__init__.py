"""The built-in stages, one file each. `datastalker.catalog` says which name is in which."""
