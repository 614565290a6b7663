/* FUSEWIRE_GATE: the linked gate's path. */
        .section .rodata
        .balign 4096
        .globl fusewire_gate_image, fusewire_gate_image_end
        .hidden fusewire_gate_image, fusewire_gate_image_end
fusewire_gate_image:
        .incbin FUSEWIRE_GATE
fusewire_gate_image_end:
        .section .note.GNU-stack, "", @progbits
