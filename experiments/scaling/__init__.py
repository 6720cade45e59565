"""What Figures 5 to 7 and 9 to 11 are measured with: samples, curves, laws and pictures of them."""
