/* Where the kernel starts `fusewire`: it becomes the gate when it is executed as that, else the program of its own. */
        .text
        .globl fusewire_entry
        .hidden fusewire_entry
        .type fusewire_entry, @function
fusewire_entry:
        xor %ebp, %ebp
        mov %rsp, %rbx
        mov %rsp, %rdi
        and $-16, %rsp
        call fusewire_carried_start
        mov %rbx, %rsp
        xor %edx, %edx
        test %rax, %rax
        jz _start
        jmp *%rax
        .size fusewire_entry, . - fusewire_entry
        .section .note.GNU-stack, "", @progbits
