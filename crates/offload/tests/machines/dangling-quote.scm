(list)
'