"""The process of a lesson of `townlet live --teach`."""
