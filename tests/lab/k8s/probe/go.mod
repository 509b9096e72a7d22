module twilllab/probe

go 1.21
