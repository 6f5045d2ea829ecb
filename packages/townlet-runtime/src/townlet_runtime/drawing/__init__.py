"""What a world says about itself to somebody who watches it."""
