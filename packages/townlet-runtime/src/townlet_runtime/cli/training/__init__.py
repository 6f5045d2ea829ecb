"""What `townlet train` decides before it trains: data, schedules, and the policy that a run begins with."""
