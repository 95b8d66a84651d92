"""What providers charge: price lists read, kept and looked up."""
