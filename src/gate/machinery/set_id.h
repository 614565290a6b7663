// What executing a file gives a process: by set-id bits and by capabilities of the file (Linux fs/exec.c
// bprm_fill_uid, security/commoncap.c cap_bprm_creds_from_file). The kernel executes the gate, which has none, so the
// next image takes the ids by itself, where the process has the right to.
#pragma once

#include <sys/stat.h>

#include <cstdint>

#include "gate/gate.h"

namespace fusewire::gate {

struct SetId {
  bool user = false, group = false;  // these ids are given
  uint32_t uid = 0, gid = 0;
  bool capabilities = false;

  bool any() const { return user || group || capabilities; }
};

// Nothing where Linux gives nothing: on mounts with nosuid, under no_new_privs, and when the process has it all.
SetId set_id_of(const ProgramFile& file);
// Whether this process may take the ids. Capabilities of a file cannot be taken.
bool may_take(const SetId& ids);
// In the image that runs the program, before it does. 0 or -errno. Ids that the process's user namespace does not know
// give nothing, and `ids` says so then.
long take_ids(SetId& ids);

}  // namespace fusewire::gate
