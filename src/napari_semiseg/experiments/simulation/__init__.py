"""Simulate an annotator to compare what suggestion strategies cost and bring.

Round after round it annotates suggested slices from reference masks, corrects
predictions, trains and scores, in copies of a project.
"""
