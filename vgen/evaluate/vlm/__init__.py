"""A vision-language model as a judge: closed questions, strict answers, nothing guessed.

endpoint, transport   a model behind an OpenAI-compatible server
local                 a model in a folder
recorded              answers that were kept, instead of either
frames                which pictures stand in a message; cost: what messages will cost
asking, labels        asks until a reply can be read, and reads it; chances: from probabilities to grades
checklist             dependent questions in two wordings, with votes
laws                  the judge's laws as such questions, for `vgen judge --ask`
shuffle, naming       orders that tell nothing; names of scores that tell judge and wording
"""
