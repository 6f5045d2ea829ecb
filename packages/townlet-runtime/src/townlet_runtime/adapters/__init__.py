"""Other people's environments as simulations. Imported only when such an environment is built."""
