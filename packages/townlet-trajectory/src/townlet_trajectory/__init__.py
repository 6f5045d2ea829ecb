"""What every agent saw, decided and earned, kept in columns, bounded, saved and loaded without loss."""
