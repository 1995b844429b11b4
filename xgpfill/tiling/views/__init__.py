"""What a tile sees of the rest: near cells one by one, far ones as averages."""
