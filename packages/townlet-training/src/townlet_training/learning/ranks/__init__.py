"""Several processes that learn together: each differentiates its share of every minibatch."""
