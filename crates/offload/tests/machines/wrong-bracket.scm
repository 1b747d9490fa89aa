(list]
