"""Files: written at once, read with limits, compared with their digests."""
