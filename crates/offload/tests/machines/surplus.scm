(list))
