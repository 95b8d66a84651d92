"""What a decision is made from, gathered from rows; and decisions explained."""
