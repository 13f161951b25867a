"""Why something is as it is: the causes in the order of time, and the calls that help.

`facts` reads what is known; `chain` has the values, and the other modules, one for each noun, are pure. Start with
deployments.
"""
