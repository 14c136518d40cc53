"""The commands of `stalk`, one file each; `datastalker.cli` loads only the one that is called."""
