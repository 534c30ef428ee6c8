"""Who must be told: reports, their rendering for each network, signing, delivery."""
