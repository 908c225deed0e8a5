package schema

func (d *decoder) circusKeys(s *INISection, kind string, t *target) {}

func (d *decoder) finishCircusSocket(sk *socketKeys) {}
