"""What a fitted model answers: the field, points, samples, averages; and the state that it answers from."""
