"""`townlet run` and `townlet live`: one world, stepped in this process."""
