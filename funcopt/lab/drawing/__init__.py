"""What all pictures and tables of the lab are drawn with."""
