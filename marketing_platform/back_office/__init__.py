"""The front page of the back office: what is happening, and what needs attention."""
