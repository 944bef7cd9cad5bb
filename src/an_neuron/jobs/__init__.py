"""What a job does around its work, and which modules stand behind a script."""
