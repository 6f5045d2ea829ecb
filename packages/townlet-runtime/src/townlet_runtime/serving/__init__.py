"""A policy behind a socket, for engines that own their loop. Needs the extra `live`."""
