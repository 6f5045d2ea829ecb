"""Arrow shards with a manifest. Needs the extra `arrow`."""
