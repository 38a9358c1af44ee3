"""Portrait matting by MODNet (Ke et al. 2022, arXiv 2011.11961)."""
