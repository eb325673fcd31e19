/* Forebay: see lj_host_look in lj_obj.h. */
void lj_host_due(lua_State *L)
{
  lua_Hook hook = G(L)->hookf;
  if (hook && !hook_active(G(L)))
    hook(L, NULL);
}

