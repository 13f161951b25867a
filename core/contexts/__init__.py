"""What a deployment finds in its surroundings: context values, dynamic variables, secrets.

`layers` decides which value a `{{name}}` has, `keys` holds the keys outside the database, `secrets` encrypts and
decrypts, `variables` keeps `${dyn|NAME}`. First file to read: layers.
"""
