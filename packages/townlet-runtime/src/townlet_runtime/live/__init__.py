"""A world in the browser: watched, taken over by hand, and taught. Needs the extra `live`."""
