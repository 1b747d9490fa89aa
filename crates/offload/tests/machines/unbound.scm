(list nobody)
