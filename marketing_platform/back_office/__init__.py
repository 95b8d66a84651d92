"""The front page of the back office: what is happening now, and what needs a person."""
