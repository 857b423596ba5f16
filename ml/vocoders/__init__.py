"""Neural vocoders and codecs that copy human speech, small ones trained here and published ones: clips with a twin.

    [[vocoders]]            # in an experiment: trained, and all copies rendered, before its network is trained
    name = "upsampling256"
    kind = "upsampling"
    strides = [8, 8, 4]

What comes back says the same in the same voice at the same time and passed through a network, so that the pair differs
in nothing but that (Wang & Yamagishi, 2023, "Spoofed training data for speech spoofing countermeasure can be
efficiently created using neural vocoders"). Those trained here are far smaller than published ones: what they share
with those are the marks of upsampling layers, of predicted phase and of quantised codes. Weights of published ones can
be used beside them (`ml.published`).
"""
