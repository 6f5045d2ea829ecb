"""`townlet config`: config files are begun, shown, explained to editors and checked."""
