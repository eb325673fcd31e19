
/* Forebay: how a C function that takes long asks the host whether it may go on. The host's hook is
** armed when the script is to end; it is called here as it would be before the next instruction, but
** without a record. It returns, or raises an error. */
#define lj_host_look(L) \
  do { \
    if (LJ_UNLIKELY(((volatile global_State *)G(L))->hookmask & LUA_MASKCOUNT)) \
      lj_host_due(L); \
  } while (0)
LJ_FUNC void lj_host_due(lua_State *L);
