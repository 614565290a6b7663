#include "wire/protocol_layout.h"
