"""HGD (Liao et al., CVPR 2018): a denoiser guided by what a classifier sees, not by pixels."""
