"""From a view to rows of training, without torch: the plan, windows decoded on threads, rows in order."""
