"""Classic captures: replay samples, manifests, metrics and catalogues."""
