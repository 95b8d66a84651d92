"""How every endpoint of the API reads, answers, names and refuses."""
