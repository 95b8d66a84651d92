"""The providers' price lists: imported, stored and looked up."""
