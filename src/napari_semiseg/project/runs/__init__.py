"""Keep one training: its folder, process, predictions and what it can continue."""
