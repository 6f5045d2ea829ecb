"""`townlet dataset`: recorded data looked at, checked, curated and written in another form."""
