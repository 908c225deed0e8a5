package bundle

func (a *App) isExternal(string) bool { return false }
